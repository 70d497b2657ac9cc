"""Mathematics of generation that knows no network: noise schedules and the steps back from noise."""
