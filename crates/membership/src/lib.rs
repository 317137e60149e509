//! Who the members are: identities, attributes, cluster and storage versions.
