"""The world: arena, communication graph, rules of release and reward, central assignment (Section II, eqs. 2-3)."""
