"""Student networks that timm does not have; importing the package registers them with timm."""

from distill.students.csat import csat

__all__ = ["csat"]
