"""The largest throughput: batches that grow until it no longer pays, then sessions at each."""
