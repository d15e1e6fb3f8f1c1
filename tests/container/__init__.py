"""The container images: what the Dockerfile and docker-compose.yml say, and, by `make container-test`, what they do."""
