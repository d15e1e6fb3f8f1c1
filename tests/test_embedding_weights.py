"""The embedding model that set-up writes: what its file says of itself. (How it is made: test_demo_weights.)"""

from node.gguf import Pooling, read_metadata
from tests.stack import EMBEDDING_WEIGHTS


def test_the_file_in_this_environment_is_whole() -> None:
    metadata = read_metadata(EMBEDDING_WEIGHTS)
    assert (metadata.architecture, metadata.pooling, metadata.quantization) == ("bert", Pooling.MEAN, "F16")
