//! `/look-again`: asks the kernel anew what it can do, after a package was installed. The button stands on the pages that
//! tell what it lacks.

use axum::response::Response;
use postern::door::messages::{Lack, Request as Ask, Status};

use super::mend::{MendForm, back};
use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;

/// What the kernel can and cannot do, for a page.
pub struct Able {
    /// What it lacks of what this page is about.
    pub lacks: Vec<Lack>,
    /// Whether it has flow tables.
    pub flow_tables: bool,
}

impl Able {
    /// With the lacks that the page is about.
    pub fn of(status: &Status, about: impl Fn(&Lack) -> bool) -> Self {
        let lacks = status.lacks.iter().filter(|lack| about(lack)).cloned().collect();
        Self { lacks, flow_tables: status.flow_tables }
    }
}

/// Looks, and leads back.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<MendForm>) -> Result<Response, Problem> {
    let message = admin.order(Ask::LookAgain).await?;
    admin.flash(message).await;
    Ok(back(&form))
}

#[cfg(test)]
mod tests {
    use postern::door::messages::{Feature, Helper, Lack};

    use crate::testing::browser::Browser;

    fn lack(feature: Feature, what: &str) -> Lack {
        let (what, costs, remedy) = (what.into(), "It costs this.".into(), "Install that.".into());
        Lack { feature, what, costs, remedy }
    }

    #[tokio::test]
    async fn what_is_missing_is_named_where_it_matters_and_gone_when_it_has_come() {
        let pptp = lack(Feature::Helper(Helper::Pptp), "the helper for PPTP");
        let ftp = lack(Feature::Helper(Helper::Ftp), "the helper for FTP");
        for (page, ours, other) in
            [("/security/vpn-passthrough", &pptp, &ftp), ("/security/helpers", &ftp, &pptp)]
        {
            let mut browser = Browser::logged_in().await;
            browser.daemon.state().lacks = vec![pptp.clone(), ftp.clone()];
            browser.open(page).await;
            assert!(browser.body.contains(&ours.what), "{page}");
            assert!(!browser.body.contains(&other.what), "{page}");
            let form = browser.forms().into_iter().find(|form| form.action == "/look-again").unwrap();
            browser.send(form).await;
            assert_eq!((browser.path.as_str(), browser.flash()), (page, "This kernel can do everything."));
            assert!(!browser.body.contains(&ours.what), "{page}");
        }
    }
}
