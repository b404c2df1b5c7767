//! What asks for the password again, in the same request: it gives secrets away, or cannot be taken back. A ticket does not do:
//! the web process holds those of everybody who is logged in, and is assumed hostile.

use std::net::{IpAddr, Ipv4Addr};

use super::messages::{Call, Refusal, RefusalKind, Request, Response};
use super::server::{Server, Side};
use crate::appliance::{Author, Imported};
use crate::journal::JournalKind;
use crate::kernel::Kernel;
use crate::log;

/// What has to be typed before everything goes.
pub const RESET_WORD: &str = "reset";

impl<K: Kernel> Server<K> {
    pub(super) async fn answer_guarded(
        &self,
        call: Call,
        side: Side,
        author: Author,
    ) -> Result<Response, Refusal> {
        self.prove(&call, side).await?;
        let author = author.with_proof(true);
        let done = |message| Ok(Response::Done { message });
        match call.request {
            Request::Backup { password, .. } => {
                let (_, settings) = self.appliance.settings();
                let text = self.logins.seal(settings.to_toml(), password.0).await?;
                log::info(&format!("{} took a backup", author.who));
                self.journal().note(JournalKind::Login, author.by(), "took a backup of the settings");
                Ok(Response::Text { text })
            }
            Request::Restore { password, text, dry, base_revision, .. } => {
                let document = self.logins.unseal(&text, password.0).await?;
                match self.appliance.restore(&document, dry, base_revision, author).await? {
                    Imported::Would(differs) => Ok(Response::Differences { differs }),
                    Imported::Done(message) => done(message),
                }
            }
            Request::Restart { .. } => done(self.appliance.restart(&author).await?),
            Request::Prove { .. } => done("That is the password of this router.".to_owned()),
            Request::Reset { .. } => done(self.appliance.reset(&author).await?),
            _ => Err(Refusal::of(RefusalKind::Forbidden, "That was answered elsewhere.")),
        }
    }

    /// Root has proved itself by reaching `admin.sock`.
    async fn prove(&self, call: &Call, side: Side) -> Result<(), Refusal> {
        if let Request::Reset { word, .. } = &call.request
            && word != RESET_WORD
        {
            let sentence = format!("Type the word {RESET_WORD} here. Nothing was reset.");
            return Err(Refusal::field(RefusalKind::Invalid, "word", sentence));
        }
        let (Request::Backup { owner, .. }
        | Request::Restore { owner, .. }
        | Request::Restart { owner }
        | Request::Prove { owner }
        | Request::Reset { owner, .. }) = &call.request
        else {
            return Ok(());
        };
        if side == Side::Admin {
            return Ok(());
        }
        let source = call.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let ticket = call.ticket.as_deref().unwrap_or_default();
        let proved = self.logins.prove(&owner.0, ticket, source).await;
        self.note_login(side, source, &proved, "gave a wrong password where it is asked for again");
        proved
    }
}
