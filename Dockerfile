# The image of goft in a container.
#   docker build -t goft .                                                                  CPU
#   docker build -t goft --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .   CUDA
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" goft train
#   docker run --rm --gpus all --user "$(id -u)" -v "$PWD:/work" goft train task=own/classification data=reviews.csv
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# --build-arg COMMIT="$(git rev-parse HEAD)": the commit that goft --version and manifests name
ARG COMMIT=

# the C compiler compiles the loops of the rotation at their first use
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /sources
COPY constraints.txt ./
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY . .
RUN if [ -n "$COMMIT" ]; then echo "$COMMIT" > goft_cli/commit; fi \
 && pip install --no-cache-dir -c constraints.txt ".[quant,sweep,tensorboard]" \
 && rm -rf /sources/*

# any user of the host may write to the home folder, which holds caches, and to an unmounted /work
ENV HOME=/home/goft USER=goft
RUN useradd --home-dir "$HOME" goft && install --directory --mode 1777 "$HOME" /work
USER goft
WORKDIR /work
ENTRYPOINT ["goft"]
CMD ["--help"]
