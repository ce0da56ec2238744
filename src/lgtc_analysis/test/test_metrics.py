def test_x(flight):
    from lgtc_analysis import metrics, verdict
    for c in verdict.verdict(flight).checks: print(c)
    print(metrics.coverages(flight)); print(metrics.handovers(flight))
    from lgtc_core.world.rules import RewardWeights
    r=metrics.rewards(flight,RewardWeights())
    print(r.solver, r.total.shape, r.total.sum(0), r.target[[0,-1]])
