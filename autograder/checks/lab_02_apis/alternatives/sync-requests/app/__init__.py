"""Digits: plain functions, threads, requests."""
