//! What this release stores but cannot do yet. A value is refused only where it would have an effect, so that a
//! document written for a later release can be read, edited and kept.

use super::{FieldError, Role, Settings};

impl Settings {
    /// Values that this release would have to act upon and cannot; empty: it can do all of it.
    pub fn not_built(&self) -> Vec<FieldError> {
        let mut missing = Vec::new();
        let mut when = |wanted: bool, key: &str, message: &str| {
            if wanted {
                missing.push(FieldError::new(key, message));
            }
        };
        if self.role == Role::Router {
            self.firewall_not_built(&mut when);
        }
        missing
    }

    fn firewall_not_built(&self, when: &mut impl FnMut(bool, &str, &str)) {
        let h = &self.helpers;
        // Not even later: see `ruleset/helpers.rs`.
        let outward = "This helper has nothing to do here: what it would announce goes from the home to the server, and passes.";
        let broadcast = "This helper has nothing to do here: it waits for answers to broadcasts of the router, which sends none.";
        when(h.sane, "helpers.sane", outward);
        when(h.amanda, "helpers.amanda", outward);
        when(h.snmp, "helpers.snmp", broadcast);
        when(h.netbios, "helpers.netbios", broadcast);
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::keys::{self, set};
    use crate::settings::tests::{filled, router};
    use crate::settings::{Role, Settings};

    fn refused(settings: &Settings) -> Vec<String> {
        settings.not_built().into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn what_has_no_effect_is_accepted() {
        assert_eq!(refused(&Settings::default()), [""; 0]);
        assert_eq!(refused(&router()), [""; 0]);
        let kept = Settings { role: Role::Unset, ..filled() };
        assert_eq!(refused(&kept), [""; 0], "no role, no effect");
    }

    #[test]
    fn what_would_have_an_effect_is_refused_beside_its_key() {
        let mut settings = router();
        set(&mut settings, "helpers.sane", "true").unwrap();
        assert_eq!(refused(&settings), ["helpers.sane"]);
    }

    #[test]
    fn helpers_that_have_nothing_to_do_are_refused_with_the_reason() {
        let mut settings = router();
        for key in keys::ALL.iter().filter(|key| key.name.starts_with("helpers.")) {
            key.set(&mut settings, "true").unwrap();
        }
        assert_eq!(refused(&settings), ["helpers.sane", "helpers.amanda", "helpers.snmp", "helpers.netbios"]);
    }
}
