"""Deploy a registered model beside the one that serves."""
