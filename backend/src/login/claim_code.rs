//! The one-time code that proves that whoever claims a new box can read its log or its console.

/// Eight characters of an alphabet without look-alikes, `ABCD-2345`: 40 bits, against one try a minute.
pub(super) struct ClaimCode(String);

/// 32 characters: no 0/O, 1/I.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

impl ClaimCode {
    pub(super) fn mint() -> Self {
        let mut bytes = [0u8; 8];
        getrandom::fill(&mut bytes).expect("the kernel has random bytes");
        let mut code: String = bytes.iter().map(|b| ALPHABET[usize::from(b & 31)] as char).collect();
        code.insert(4, '-');
        Self(code)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Case, dashes and spaces do not matter.
    pub(super) fn matches(&self, typed: &str) -> bool {
        let plain = |s: &str| -> Vec<u8> {
            s.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase()).collect()
        };
        let (ours, theirs) = (plain(&self.0), plain(typed));
        // Every byte is looked at, so that the time taken does not tell how many were right.
        ours.len() == theirs.len() && ours.iter().zip(&theirs).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = ClaimCode("ABCD-2345".into());
        assert!(code.matches("abcd2345") && code.matches(" ABCD-2345 "));
        assert!(!code.matches("ABCD-2346") && !code.matches("") && !code.matches("ABCD-23455"));
        assert_eq!(ClaimCode::mint().as_str().len(), 9);
        assert_ne!(ClaimCode::mint().as_str(), ClaimCode::mint().as_str());
    }
}
