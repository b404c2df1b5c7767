//! The one account.

use super::{Error, Store, as_written, sum, wall_clock};

impl Store {
    /// The PHC string of the owner's password; none: the box is unclaimed.
    pub async fn password(&self) -> Result<Option<String>, Error> {
        let row: Option<(String, Option<i64>)> =
            sqlx::query_as("SELECT password, sum FROM account WHERE id = 1")
                .fetch_optional(&self.pool)
                .await?;
        match row {
            Some((password, sum)) if !as_written(&password, sum) => {
                Err(Error::Damaged("the account".to_owned()))
            }
            row => Ok(row.map(|(password, _)| password)),
        }
    }

    /// Takes an unclaimed box. False: somebody was first; nothing was changed.
    pub async fn claim(&self, password: &str) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO account (id, password, claimed_at, sum) VALUES (1, ?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )
        .bind(password)
        .bind(wall_clock())
        .bind(sum(password).cast_signed())
        .execute(transaction.connection())
        .await;
        let done = transaction.end(done.map_err(Error::from)).await?;
        self.keep_copy().await;
        Ok(done.rows_affected() == 1)
    }

    /// Replaces the password of a claimed box, for example by one hashed with better parameters.
    pub async fn set_password(&self, password: &str) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query("UPDATE account SET password = ?1, sum = ?2 WHERE id = 1")
            .bind(password)
            .bind(sum(password).cast_signed())
            .execute(transaction.connection())
            .await;
        transaction.end(done.map_err(Error::from)).await?;
        self.keep_copy().await;
        Ok(())
    }

    /// As a bit that has flipped on the disk.
    #[cfg(test)]
    pub(crate) async fn damage_the_password(&self) {
        sqlx::query("UPDATE account SET sum = sum + 1").execute(&self.pool).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_box_is_claimed_once() {
        let store = Store::in_memory().await.unwrap();
        assert_eq!(store.password().await.unwrap(), None);
        assert!(store.claim("first").await.unwrap());
        assert!(!store.claim("second").await.unwrap());
        assert_eq!(store.password().await.unwrap().as_deref(), Some("first"));
    }
}
