"""Processes that check tokens as fast as they can, one that revokes, and one clock: how old may an answer be?"""
