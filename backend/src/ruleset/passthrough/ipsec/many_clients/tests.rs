use super::*;

#[test]
fn what_is_kept_is_learnt() {
    for name in KEPT {
        assert!(learnt::LEARNT.iter().any(|learnt| learnt.name == *name), "{name}");
    }
}
