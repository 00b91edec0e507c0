"""The phone: BLE central, small reading and translation, the cascade, ledger, packs."""
