/// Feature bits of a memory balloon (virtio 1.2, section 5.5.3). VIRTIO_BALLOON_F_MUST_TELL_HOST is not offered, since a page may be used again without a word;
/// VIRTIO_BALLOON_F_FREE_PAGE_HINT serves migration.
enum BalloonFeature {
    /// There is a queue for statistics.
    static let statistics: UInt64 = 1 << 1
    /// A guest that runs out of memory takes pages out of the balloon by itself.
    static let deflateOnOOM: UInt64 = 1 << 2
    /// The driver tells what it writes into free pages.
    static let pagePoison: UInt64 = 1 << 4
    /// There is a queue for free pages.
    static let reporting: UInt64 = 1 << 5
}
