"""`report.html`: a whole run on one page that needs nothing but a browser."""
