//! What the kernel lacks, what that costs, and which package brings it, in words.
//!
//! Packages: OpenWrt's package/kernel/linux/modules/netfilter.mk. Its kmod-nf-nathelper-extra once held all helpers but
//! FTP; newer releases have one package each, and keep it as a name for all of them. Debian builds the modules into the
//! package of its kernel, linux-image-…; the ones for virtual machines (linux-image-cloud-…) leave some out.

use serde::{Deserialize, Serialize};

use crate::ruleset::{Capabilities, Feature, Helper};

/// A feature that this kernel lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// Which.
    pub feature: Feature,
    /// What is missing, for example `the helper for PPTP`.
    pub what: String,
    /// What does not work, and what works in its place: one sentence.
    pub costs: String,
    /// What to do about it on OpenWrt and on Debian: one or two sentences.
    pub remedy: String,
}

/// What people call it.
pub(super) fn title(helper: Helper) -> &'static str {
    match helper {
        Helper::Pptp => "PPTP",
        Helper::Ftp => "FTP",
        Helper::Tftp => "TFTP",
        Helper::Sip => "SIP telephones",
        Helper::H323 => "H.323 telephones",
        Helper::Irc => "IRC",
    }
}

/// Everything that is missing.
pub(super) fn lacks(capabilities: &Capabilities) -> Vec<Lack> {
    capabilities.missing().into_iter().map(lack).collect()
}

/// One thing that is missing.
pub(super) fn lack(feature: Feature) -> Lack {
    let (what, costs, remedy) = match feature {
        Feature::Helper(helper) => of_helper(helper),
        Feature::ManyClients => (
            "what several IPsec devices to one server need".to_owned(),
            "Without NAT traversal, one device at a time can use IPsec to the same server; everything else works.".to_owned(),
            "On OpenWrt install kmod-nft-core, kmod-nft-nat and kmod-nft-fib. On Debian the kernel needs its modules nft_ct, \
             nft_fib_inet, nft_nat and nft_limit (package linux-image), and nft 1.0 or newer."
                .to_owned(),
        ),
        Feature::Forwards => (
            "what port forwards need".to_owned(),
            "No port is forwarded and there is no DMZ host, whatever the settings say; everything else works.".to_owned(),
            "On OpenWrt install kmod-nft-nat and kmod-nft-fib. On Debian the kernel needs its modules nft_fib_inet and nft_nat \
             (package linux-image)."
                .to_owned(),
        ),
        Feature::Events => (
            "to hear of calls that end".to_owned(),
            "What is left of a PPTP call whose control connection just breaks off stays until the kernel forgets it; a new \
             call with the same numbers may have to wait for that."
                .to_owned(),
            "On OpenWrt install kmod-nf-conntrack-netlink. Debian's kernels have it built in.".to_owned(),
        ),
        Feature::Names => (
            "to hear what the DNS here answers".to_owned(),
            "VPN sessions show a server's address only, and not the name that the device asked for.".to_owned(),
            "On OpenWrt install kmod-nfnetlink-log. On Debian the kernel needs its \
             module nfnetlink_log (package linux-image)."
                .to_owned(),
        ),
    };
    Lack { feature, what, costs, remedy }
}

fn of_helper(helper: Helper) -> (String, String, String) {
    let title = title(helper);
    let costs = match helper {
        Helper::Pptp => "This kernel has no PPTP helper, so calls could not work and are refused.".to_owned(),
        _ => {
            format!("This kernel has no helper for {title}: the switch does nothing, and nothing is let in.")
        }
    };
    let openwrt = match helper {
        Helper::Ftp => "kmod-nf-nathelper".to_owned(),
        _ => format!("kmod-nf-nathelper-extra (newer releases: kmod-nf-nathelper-{})", helper.name()),
    };
    let [conntrack, nat] = helper.modules();
    let remedy = format!(
        "On OpenWrt install {openwrt}. On Debian the kernel needs its modules {conntrack} and {nat} (package linux-image, not \
         the one for the cloud)."
    );
    (format!("the helper for {title}"), costs, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_missing_is_named_with_its_packages() {
        assert_eq!(lacks(&Capabilities::everything()), []);
        let all = lacks(&Capabilities::nothing());
        assert_eq!(all.len(), 4 + Helper::ALL.len());
        for lack in &all {
            assert!(
                lack.remedy.contains("OpenWrt install kmod-") && lack.remedy.contains("Debian"),
                "{lack:?}"
            );
            assert!(lack.costs.ends_with('.') && lack.remedy.ends_with('.'), "{lack:?}");
        }
        let ftp = lack(Feature::Helper(Helper::Ftp));
        assert!(ftp.remedy.contains("kmod-nf-nathelper.") && ftp.remedy.contains("nf_nat_ftp"), "{ftp:?}");
    }
}
