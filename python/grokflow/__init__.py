"""Fast simulation of gradient flows with small weight decay, and of their limit."""
