"""Runs a recipe on a Ray cluster of two nodes with a scratch folder each, into an object store. A test's subprocess."""

from __future__ import annotations

import json
import os
import pathlib
import sys


def main(recipe_path: str, folder: str) -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import boto3
    from moto.server import ThreadedMotoServer
    from ray.cluster_utils import Cluster

    from curate import Options, load_recipe, run, storage

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="curate-test")
    options = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    inputs = pathlib.Path(recipe_path).parent / "crawl"
    for path in sorted(inputs.glob("*.warc.gz")):
        client.upload_file(str(path), "curate-test", f"crawl/{path.name}")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20})
    for number in range(2):
        scratch = pathlib.Path(folder) / f"scratch-{number}"
        scratch.mkdir()
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20, env_vars={"TMPDIR": str(scratch)})
    try:
        output = f"s3://curate-test/runs/one{options}"
        recipe = load_recipe(recipe_path, inputs=[f"s3://curate-test/crawl/*.warc.gz{options}"])
        summary = run(recipe, output, Options(executor="ray", address=cluster.address))
        manifest = json.loads(storage.read_bytes(storage.join(output, "shards", "manifest.json")))
        used = [any(pathlib.Path(folder, f"scratch-{number}").iterdir()) for number in range(2)]
        shards = {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
        print(json.dumps({"fingerprint": summary.fingerprint, "shards": shards, "nodes_used": sum(used)}))
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
        server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
