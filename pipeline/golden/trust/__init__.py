"""Why a golden is trusted, beside its hash: signatures, and publishers' lists.

`evidence` fetches and keeps them and has them judged; `signatures` tells by which program, `gpgv` or
`minisign`, and `sums` reads lists.
"""
