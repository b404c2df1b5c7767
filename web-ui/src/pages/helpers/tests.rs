use axum::http::StatusCode;
use postern::door::messages::{Assignment, RefusalKind};

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::refusal;

const FTP: &str = "helpers.ftp";

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn saving_a_helper_tells_the_daemon_exactly_that_and_shows_what_is_true() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    for name in ["ftp", "tftp", "sip", "h323", "irc"] {
        assert!(browser.body.contains(&format!(r#"data-helper="{name}" data-effect="blocked""#)), "{name}");
    }
    for not_offered in ["SANE", "Amanda", "NetBIOS", "SNMP"] {
        assert!(
            browser.body.contains(not_offered)
                && !browser.body.contains(&format!("helpers.{}", not_offered.to_lowercase()))
        );
    }
    browser.send(browser.form(FTP).set(FTP, "true")).await;
    assert_eq!(browser.daemon.state().changes, [(Some(0), vec![set(FTP, "true")])]);
    assert_eq!((browser.path.as_str(), browser.status), (HERE, StatusCode::OK));
    assert!(browser.body.contains(r#"data-helper="ftp" data-effect="ready""#));
    browser.send(browser.form(FTP)).await;
    assert_eq!(browser.daemon.state().changes.len(), 1, "a form sent as it came changes nothing");
    browser.send(browser.form(FTP).untick(FTP)).await;
    assert_eq!(browser.daemon.state().changes[1], (Some(1), vec![set(FTP, "false")]));
}

#[tokio::test]
async fn every_switch_warns_and_what_is_refused_comes_back() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    assert_eq!(browser.body.matches(r#"class="warn when-on""#).count(), 5);
    browser.daemon.state().refuse = Some(refusal(RefusalKind::Failed, "nft said no."));
    browser.send(browser.form(FTP).set(FTP, "true")).await;
    assert_eq!(browser.status, StatusCode::BAD_GATEWAY);
    assert!(browser.body.contains("nft said no.") && browser.form(FTP).body().contains("helpers.ftp=true"));
}

#[tokio::test]
async fn a_conflict_shows_both_values_and_merges_nothing() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form(FTP).set(FTP, "true");
    browser.daemon.state().save("root", "command line", &[set("helpers.sip", "true")]).unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.daemon.state().changes.is_empty());
    assert!(browser.body.contains("SIP telephones: off \u{2192} on"), "{}", browser.body);
    assert!(browser.body.contains("<th scope=\"row\">FTP</th><td>off</td><td>on</td>"));
}
