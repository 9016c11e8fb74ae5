def pytest_configure(config):
    config.addinivalue_line("markers", "aks: runs against a real agent pool of AKS")
