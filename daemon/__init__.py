"""genqd: runs paid AI image and video jobs, and never pays twice."""

__version__ = "0.1.0"
