"""Numbers of finished runs: arms, pairs with a control, comparisons. Rendering is in `report`."""
