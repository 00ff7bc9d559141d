# goft train in a container.
#   docker build -t goft .                                                              CPU
#   docker build -t goft --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .   CUDA
#   docker run --rm -v "$PWD:/work" goft train
#   docker run --rm --gpus all -v "$PWD:/work" goft train task=own/classification data=reviews.csv
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# cc translates the loops of the rotation when they are first used
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /sources
COPY constraints.txt ./
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[quant,sweep,tensorboard]" && rm -rf /sources/*

RUN useradd --create-home goft
USER goft
WORKDIR /work
ENTRYPOINT ["goft"]
CMD ["--help"]
