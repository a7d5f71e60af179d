# clnf_torch with Ray on CUDA, for the machines of a cluster: see docs/guide/cluster.md.
# Not tested: the machines that this was written on have no Docker.
FROM python:3.11-slim

# OpenCV's headless wheel and PyAV bring their own libraries; rsync is what Ray copies files to machines with
RUN apt-get update && apt-get install --yes --no-install-recommends rsync && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/clnf_torch
COPY pyproject.toml README.md LICENSE ./
COPY clnf_torch clnf_torch
COPY converters converters
COPY weights weights

# The wheels of torch for Linux bring CUDA; the driver is the machine's
RUN pip install --no-cache-dir torch==2.13.0 && pip install --no-cache-dir ".[ray,fast,heic]" s3fs gcsfs

CMD ["clnf-torch", "--help"]
