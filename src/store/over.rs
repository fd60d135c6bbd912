//! A store behind a client that somebody else has made.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::prefix::PrefixStore;

use super::{Bucket, Identity, ReadStore, STATE_DIRECTORY, StoreError, Tree, WriteStore};

impl WriteStore {
    /// A store behind a client that the caller has made, such as one that simulates a bucket. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// When the client library cannot name our own directory.
    pub fn over<C>(client: Arc<C>, name: &str, concurrency: usize) -> Result<Self, StoreError>
    where
        C: ObjectStore + PaginatedListStore,
    {
        let bucket = Bucket::over(client.clone(), client, concurrency);
        let own = PrefixStore::new(bucket.objects().clone(), bucket.path(STATE_DIRECTORY)?);
        let state: Arc<dyn ObjectStore> = Arc::new(own);
        let read = ReadStore {
            tree: Arc::new(Tree::Bucket(bucket)),
            state: Some(state.clone()),
            own: Some(state.clone()),
            elsewhere: false,
            identity: Identity { url: name.to_owned(), fingerprint: name.to_owned() },
            meter: Arc::default(),
            progress: Arc::default(),
            concurrency,
        };
        Ok(Self { read, state })
    }
}
