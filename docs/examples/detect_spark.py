"""The faces of images on Spark: the same callables inside ``mapInArrow``.

spark-submit detect_spark.py IMAGES FOLDER
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from clnf_torch.distributed.images import DetectFaces, decode_images
from clnf_torch.distributed.inputs import InputFile, image_inputs


def detected(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of faces in a partition of image files; the model is loaded once for it."""
    faces = DetectFaces(threads=1)
    for batch in batches:
        table, _problems = faces(decode_images(InputFile(**row) for row in batch.to_pylist()))
        if table is not None:
            yield from table.to_batches()


def main(images: str, folder: str) -> None:
    """Writes the faces of all images as Parquet."""
    # x_0 is a pixel, X_0 a millimetre
    builder = SparkSession.builder.config("spark.sql.caseSensitive", "true")
    spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "64").getOrCreate()
    inputs = image_inputs(images)
    # Spark wants to know the columns beforehand: those of any image with a face
    example = next(detected(iter(pa.Table.from_pylist([asdict(each) for each in inputs[:64]]).to_batches())))
    files = spark.createDataFrame(
        [asdict(each) for each in inputs], "name string, url string, bytes long, modified string"
    )
    files.repartition(2).mapInArrow(detected, from_arrow_schema(example.schema)).write.parquet(folder)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
