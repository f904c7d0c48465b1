"""The axon of the Bittensor SDK and convminer's, under the same load."""
