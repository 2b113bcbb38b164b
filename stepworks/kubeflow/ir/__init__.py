"""Compiled pipelines (IR), read into typed values that know where they stand in their file."""
