//! Who may change things: the owner's password, the tickets of live logins, the delay after wrong passwords, and
//! the one-time code that claims a new box. All of it in the daemon: the web process is assumed hostile.

mod claim_code;
mod guesses;
mod password;
mod sealed;
mod throttle;
mod tickets;

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::appliance::{Refusal, RefusalKind};
use crate::store::{self, Store};

use claim_code::ClaimCode;
use guesses::Guesses;
use password::Hasher;
use throttle::{Admitted, Throttle};
use tickets::Tickets;

pub use throttle::counted;

/// Logins and what guards them.
#[derive(Debug)]
pub struct Logins {
    store: Store,
    hasher: Hasher,
    code: ClaimCode,
    throttle: Mutex<Throttle>,
    guesses: Mutex<Guesses>,
    tickets: Mutex<Tickets>,
}

/// Whether a ticket is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// It is.
    Live,
    /// It never was, was ended, or idled too long.
    Dead,
}

/// A live login.
#[derive(Clone)]
pub struct Live {
    /// Its number, to end it by.
    pub id: u64,
    /// Its ticket; never leaves the daemon but to the one who holds it.
    pub ticket: String,
    /// Where it came from, as the web process said.
    pub source: IpAddr,
    /// Since it began.
    pub age: Duration,
    /// Since a person last did something with it.
    pub idle: Duration,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Live({} from {})", self.id, self.source)
    }
}

impl Logins {
    /// With the accounts of `store`.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            hasher: Hasher::for_this_box(),
            code: ClaimCode::mint(),
            throttle: Mutex::default(),
            guesses: Mutex::default(),
            tickets: Mutex::default(),
        }
    }

    /// Whether the box has an owner. A password that is damaged was somebody's: nobody logs in with it and nobody can claim the box, but
    /// the page is there, and root sets a new one.
    pub async fn claimed(&self) -> Result<bool, Refusal> {
        match self.store.password().await {
            Err(store::Error::Damaged(_)) => Ok(true),
            found => Ok(found.map_err(|e| Refusal::failed(&e))?.is_some()),
        }
    }

    /// The one-time code, for as long as the box is unclaimed.
    pub async fn claim_code(&self) -> Result<String, Refusal> {
        if self.claimed().await? {
            return Err(Refusal::of(
                RefusalKind::Forbidden,
                "This box has an owner already; there is no claim code.",
            ));
        }
        Ok(self.code.as_str().to_owned())
    }

    /// Takes an unclaimed box and logs in. `code` is `None` for root, who needs none.
    pub async fn claim(&self, code: Option<&str>, password: &str, source: IpAddr) -> Result<String, Refusal> {
        if self.claimed().await? {
            return Err(Refusal::of(
                RefusalKind::Forbidden,
                "This box has an owner already. Log in instead.",
            ));
        }
        if let Some(code) = code {
            let tried = self.admit(source)?;
            if !self.code.matches(code) {
                lock(&self.guesses).wrong(source, Instant::now());
                return Err(Refusal::field(
                    RefusalKind::Wrong,
                    "code",
                    "That is not the code of this box. It stands in its log; \"postern claim-code\" repeats it.",
                ));
            }
            lock(&self.throttle).succeeded(tried);
        }
        password::check("password", password)?;
        let phc = self.hasher.hash(password).await?;
        if !self.store.claim(&phc).await.map_err(|e| Refusal::failed(&e))? {
            return Err(Refusal::of(
                RefusalKind::Forbidden,
                "Somebody else has just taken this box. Log in instead.",
            ));
        }
        Ok(self.mint(source))
    }

    /// Logs in. A wrong password costs the source, and everybody a little, time.
    pub async fn login(&self, password: &str, source: IpAddr) -> Result<String, Refusal> {
        let tried = self.admit(source)?;
        let generation = lock(&self.tickets).generation();
        if !self.is_password(password, tried).await? {
            return Err(Refusal::of(RefusalKind::Wrong, "That is not the password."));
        }
        // A password that was changed while this one was looked at was the old one.
        lock(&self.tickets).mint_if(generation, source, Instant::now()).ok_or_else(|| {
            Refusal::of(RefusalKind::Wrong, "The password was changed just now. Log in with the new one.")
        })
    }

    /// Whether `ticket` is a live login; `attended` keeps it from idling out. `idle` is how long it may idle.
    pub fn check(&self, ticket: &str, attended: bool, idle: Duration) -> Ticket {
        lock(&self.tickets).check(ticket, attended, idle, Instant::now())
    }

    /// A new password. `old` is what was typed as the old one, with the ticket of the login that asks: every other
    /// login ends, and as with [`Self::prove`] the source of that login is delayed. None: root, who need not know it; all logins
    /// end, and nobody waits any more for what was typed wrong before: it is the way in for an owner whom others keep waiting.
    pub async fn change_password(
        &self,
        old: Option<(&str, &str)>,
        new: &str,
        source: IpAddr,
    ) -> Result<(), Refusal> {
        if !self.claimed().await? {
            return Err(Refusal::of(RefusalKind::Forbidden, "This box has no owner yet. Claim it first."));
        }
        password::check("password", new)?;
        if let Some((old, ticket)) = old
            && !self.proves(old, ticket, source).await?
        {
            let sentence = "That is not the present password. Nothing was changed.";
            return Err(Refusal::field(RefusalKind::Wrong, "old", sentence));
        }
        let phc = self.hasher.hash(new).await?;
        self.store.set_password(&phc).await.map_err(|e| Refusal::failed(&e))?;
        lock(&self.tickets).end_others(old.map(|(_, ticket)| ticket));
        if old.is_none() {
            *lock(&self.throttle) = Throttle::default();
        }
        Ok(())
    }

    /// Whether it is the owner who asks, with the password again: what a stolen login, or a web process that somebody has
    /// taken over, shall not get. `ticket` is the login's: it tells the source that is delayed after a wrong one, whatever the
    /// web process says now.
    pub async fn prove(&self, password: &str, ticket: &str, source: IpAddr) -> Result<(), Refusal> {
        if self.proves(password, ticket, source).await? {
            return Ok(());
        }
        let sentence = "That is not the password of this router. Nothing was done.";
        Err(Refusal::field(RefusalKind::Wrong, "owner", sentence))
    }

    /// False: that is not the password.
    async fn proves(&self, password: &str, ticket: &str, source: IpAddr) -> Result<bool, Refusal> {
        let source = lock(&self.tickets).source(ticket).unwrap_or(source);
        let tried = self.admit(source)?;
        let right = self.is_password(password, tried).await?;
        if right {
            lock(&self.tickets).prove(ticket, Instant::now());
        }
        Ok(right)
    }

    /// Whether the password of this login was typed, at its begin or by [`Self::prove`], less than five minutes ago: else it may not
    /// open anything to the internet.
    pub fn fresh(&self, ticket: &str) -> bool {
        lock(&self.tickets).fresh(ticket, Instant::now())
    }

    /// What the owner should know, in words: somebody seems to be guessing.
    pub fn notices(&self) -> Vec<String> {
        lock(&self.guesses).notices(Instant::now())
    }

    /// Live logins, newest first.
    pub fn live(&self, idle: Duration) -> Vec<Live> {
        lock(&self.tickets).live(idle, Instant::now())
    }

    /// Ends the login of this number. False: there is none.
    pub fn end(&self, id: u64) -> bool {
        lock(&self.tickets).end_id(id)
    }

    /// Ends a login.
    pub fn logout(&self, ticket: &str) {
        lock(&self.tickets).end(ticket);
    }

    /// Looks at a password that [`Self::admit`] has let through. Only a wrong one costs the source anything: the queue
    /// being full, or the store refusing, is not its fault.
    async fn is_password(&self, password: &str, tried: Admitted) -> Result<bool, Refusal> {
        let looked = async {
            let phc = self.store.password().await.map_err(|e| Refusal::failed(&e))?;
            let no_owner =
                || Refusal::of(RefusalKind::Forbidden, "This box has no owner yet. Claim it first.");
            self.hasher.verify(password, &phc.ok_or_else(no_owner)?).await
        };
        let looked = looked.await;
        match &looked {
            Ok(true) => lock(&self.throttle).succeeded(tried),
            Ok(false) => lock(&self.guesses).wrong(tried.source(), Instant::now()),
            Err(_) => lock(&self.throttle).forgive(tried),
        }
        looked
    }

    fn mint(&self, source: IpAddr) -> String {
        lock(&self.tickets).mint(source, Instant::now())
    }

    fn admit(&self, source: IpAddr) -> Result<Admitted, Refusal> {
        lock(&self.throttle).admit(source, Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() as u32 + 1;
            Refusal {
                wait_seconds: seconds,
                ..Refusal::of(
                    RefusalKind::Wait,
                    format!(
                        "Too many wrong passwords. Try again in {seconds} second{}.",
                        if seconds == 1 { "" } else { "s" }
                    ),
                )
            }
        })
    }
}

/// A lock whose holder panicked guards plain data that is valid at every step: go on with it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// 256 random bits from the kernel, in hexadecimal.
fn random_hex() -> String {
    let mut bytes = [0u8; 32];
    // The kernel's generator fails only before it is seeded, and then getrandom blocks instead.
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 101));

    async fn logins() -> Logins {
        Logins::new(Store::in_memory().await.unwrap())
    }

    #[tokio::test]
    async fn a_claim_needs_the_code_and_works_once() {
        let logins = logins().await;
        let code = logins.claim_code().await.unwrap();
        let wrong = logins.claim(Some("0000-0000"), "correct horse", HERE).await.unwrap_err();
        assert_eq!(wrong.kind, RefusalKind::Wrong);
        let ticket = logins.claim(Some(&code), "correct horse", HERE).await.unwrap();
        assert_eq!(logins.check(&ticket, true, Duration::from_secs(600)), Ticket::Live);
        let late = logins.claim(Some(&code), "another password", HERE).await.unwrap_err();
        assert_eq!(late.kind, RefusalKind::Forbidden);
        assert!(logins.login("another password", HERE).await.is_err());
        assert!(logins.login("correct horse", HERE).await.is_ok());
        assert!(logins.claim_code().await.is_err(), "the code is of no use any more");
    }

    #[tokio::test]
    async fn a_new_password_needs_the_old_one_and_ends_every_other_login() {
        let logins = logins().await;
        let idle = Duration::from_secs(600);
        let first = logins.claim(None, "correct horse", HERE).await.unwrap();
        let mine = logins.login("correct horse", HERE).await.unwrap();
        let wrong =
            logins.change_password(Some(("wrong horse", &mine)), "another horse", HERE).await.unwrap_err();
        assert_eq!((wrong.kind, wrong.fields[0].key.as_str()), (RefusalKind::Wrong, "old"));
        assert!(logins.change_password(Some(("correct horse", &mine)), "short", HERE).await.is_err());
        assert_eq!(logins.check(&first, true, idle), Ticket::Live, "nothing was changed so far");
        logins.change_password(Some(("correct horse", &mine)), "another horse", HERE).await.unwrap();
        assert_eq!(logins.check(&first, true, idle), Ticket::Dead);
        assert_eq!(logins.check(&mine, true, idle), Ticket::Live);
        assert!(logins.login("correct horse", HERE).await.is_err());
        logins.change_password(None, "root was here", HERE).await.unwrap();
        assert_eq!(logins.check(&mine, true, idle), Ticket::Dead, "root ends them all");
        assert!(logins.login("root was here", IpAddr::from([192, 168, 1, 9])).await.is_ok());
    }

    #[tokio::test]
    async fn a_password_that_is_damaged_opens_nothing_and_root_sets_a_new_one() {
        let logins = logins().await;
        logins.claim(None, "correct horse", HERE).await.unwrap();
        logins.store.damage_the_password().await;
        assert!(logins.claimed().await.unwrap(), "it has an owner");
        assert_eq!(logins.claim(None, "my horse now", HERE).await.unwrap_err().kind, RefusalKind::Forbidden);
        assert!(logins.login("correct horse", HERE).await.is_err());
        logins.change_password(None, "root was here", HERE).await.unwrap();
        assert!(logins.login("root was here", HERE).await.is_ok());
    }

    #[tokio::test]
    async fn a_hundred_claims_at_once_have_one_winner() {
        let logins = std::sync::Arc::new(logins().await);
        let tries: Vec<_> = (0..100)
            .map(|n| {
                let logins = logins.clone();
                tokio::spawn(async move {
                    logins.claim(None, &format!("horse number {n:03}"), HERE).await.is_ok()
                })
            })
            .collect();
        let mut winners = 0;
        for one in tries {
            winners += usize::from(one.await.unwrap());
        }
        assert_eq!(winners, 1);
    }

    #[tokio::test]
    async fn wrong_passwords_make_the_source_wait_and_nobody_else() {
        let logins = logins().await;
        logins.claim(None, "correct horse", HERE).await.unwrap();
        let mut refused = None;
        for _ in 0..12 {
            let refusal = logins.login("wrong horse", HERE).await.unwrap_err();
            if refusal.kind == RefusalKind::Wait {
                refused = Some(refusal.wait_seconds);
                break;
            }
        }
        let told = logins.notices();
        assert!(told.is_empty(), "three are no attack, and the others were not looked at: {told:?}");
        assert!(refused.is_some(), "twelve wrong passwords in a row were all looked at");
        assert_eq!(logins.login("correct horse", HERE).await.unwrap_err().kind, RefusalKind::Wait);
        let other = IpAddr::from([192, 168, 1, 102]);
        assert!(logins.login("correct horse", other).await.is_ok());
    }
    #[tokio::test]
    async fn the_old_password_is_guessed_at_the_cost_of_the_login_and_root_ends_every_wait() {
        let logins = logins().await;
        let ticket = logins.claim(None, "correct horse", HERE).await.unwrap();
        for n in 1..=3 {
            let elsewhere = IpAddr::from([192, 168, 9, n]);
            let old = Some(("wrong horse", ticket.as_str()));
            let wrong = logins.change_password(old, "another horse", elsewhere).await.unwrap_err();
            assert_eq!(wrong.kind, RefusalKind::Wrong);
        }
        let old = Some(("correct horse", ticket.as_str()));
        let elsewhere = IpAddr::from([192, 168, 9, 9]);
        let refused = logins.change_password(old, "another horse", elsewhere).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Wait, "another address does not help");
        assert_eq!(logins.login("correct horse", HERE).await.unwrap_err().kind, RefusalKind::Wait);
        logins.change_password(None, "root was here", HERE).await.unwrap();
        assert!(logins.login("root was here", HERE).await.is_ok());
    }
}
