"""Generators and discriminators, and several of them as one."""
