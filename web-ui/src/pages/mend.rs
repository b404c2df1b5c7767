//! `/mend`: loads our rules again where the kernel holds something else. The button stands in a notice of the pages that
//! tell what is true in the kernel.

use axum::response::Response;
use postern::door::messages::{Request as Ask, Rules, Status};
use serde::Deserialize;

use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::see_other;

/// What the notice says; none: nothing is to be mended.
pub fn why(status: &Status) -> Option<&'static str> {
    match status.rules {
        Rules::Edited => Some(
            "Somebody else changed Postern\u{2019}s rules in the kernel. What they let through now may differ from \
             your settings.",
        ),
        Rules::Missing => Some(
            "Postern\u{2019}s rules are gone from the kernel. Postern loads them again within a few seconds; until then it protects nothing.",
        ),
        Rules::Deny => Some(
            "Only the safe rules are loaded: nothing is forwarded, and the local network still reaches this page.",
        ),
        Rules::Loaded if status.needs_mending => Some(
            "Somebody else changed addresses, the route or kernel settings of this box, so that it does not do what is \
             set here.",
        ),
        Rules::Loaded | Rules::NotWanted | Rules::Unknown { .. } => None,
    }
}

/// Which page had the button.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MendForm {
    page: Page,
}

#[derive(Deserialize)]
enum Page {
    #[serde(rename = "/")]
    Overview,
    #[serde(rename = "/security/vpn-passthrough")]
    Passthrough,
    #[serde(rename = "/security/helpers")]
    Helpers,
    #[serde(rename = "/system/about")]
    About,
}

/// Loads them, and leads back.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<MendForm>) -> Result<Response, Problem> {
    let message = admin.order(Ask::Mend).await?;
    admin.flash(message).await;
    Ok(back(&form))
}

/// To the page that had the button.
pub fn back(form: &MendForm) -> Response {
    see_other(match form.page {
        Page::Overview => "/",
        Page::Passthrough => super::passthrough::HERE,
        Page::Helpers => super::helpers::HERE,
        Page::About => super::about::HERE,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use postern::door::messages::{RefusalKind, Rules};

    use crate::testing::browser::Browser;
    use crate::testing::fake::refusal;

    const PAGES: [&str; 3] = ["/", "/security/vpn-passthrough", "/security/helpers"];

    #[tokio::test]
    async fn broken_rules_are_mended_on_a_click_from_where_they_are_seen() {
        for rules in [Rules::Edited, Rules::Missing, Rules::Deny] {
            for page in PAGES {
                let mut browser = Browser::logged_in().await;
                browser.daemon.state().rules = rules.clone();
                browser.open(page).await;
                assert!(browser.body.contains("Put it right"), "{rules:?} {page}");
                let form = browser.forms().into_iter().find(|form| form.action == "/mend").unwrap();
                browser.send(form).await;
                assert_eq!((browser.path.as_str(), browser.status), (page, StatusCode::OK));
                assert_eq!(browser.flash(), "The rules of these settings were loaded anew.");
                assert_eq!(browser.daemon.state().rules, Rules::Loaded);
                assert!(!browser.body.contains("data-mend"));
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_mended_so_is_not_offered() {
        for rules in [Rules::Loaded, Rules::Unknown { reason: "no netlink".into() }] {
            let mut browser = Browser::logged_in().await;
            browser.daemon.state().rules = rules;
            for page in PAGES {
                browser.open(page).await;
                assert!(!browser.body.contains("/mend"), "{page}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_is_a_page_and_a_foreign_way_back_is_none() {
        let mut browser = Browser::logged_in().await;
        browser.daemon.state().rules = Rules::Edited;
        browser.open("/").await;
        let form = browser.form("page");
        browser.send(form.clone().set("page", "//evil.example")).await;
        assert_eq!(browser.status, StatusCode::BAD_REQUEST);
        assert_eq!(browser.daemon.state().rules, Rules::Edited);
        browser.daemon.state().refuse =
            Some(refusal(RefusalKind::Failed, "nft said no, so nothing was changed."));
        browser.send(form).await;
        assert_eq!(browser.status, StatusCode::BAD_GATEWAY);
        assert!(browser.body.contains("nft said no"));
    }
}
