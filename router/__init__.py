"""The Router: carries Predict along the Registry's routes."""
