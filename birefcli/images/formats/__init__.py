"""Kinds of files: their structure, their odd and damaged cases, samples above 8 bits."""
