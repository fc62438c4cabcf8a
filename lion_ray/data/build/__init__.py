"""Any set that can be read, written as lossless Parquet with a manifest: what `lion-ray data build` does."""
