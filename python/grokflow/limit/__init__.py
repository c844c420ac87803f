"""The limit of vanishing weight decay: landing and drift, beside the flows that they describe."""
