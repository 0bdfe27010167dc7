"""The pages of `textmad compare`: words, tables and figures of an `analysis.Comparison`."""
