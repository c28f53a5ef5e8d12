"""Small sequential recommenders (SASRec, BSARec, GRU4Rec, Caser and the paper's own): models, losses, training, files.

Imports from core, data, training and evaluation. May be imported by teacher (as user encoder), distill and exp.
"""
