"""Wrote the files beside it: python make.py, with PyTorch 2.13."""

import torch

tensors = {'l1.weight': torch.ones((2, 3))}
torch.save(tensors, 'model.pt')
torch.save(tensors, 'old.pt', _use_new_zipfile_serialization=False)
