internal import BlockBackend

/// Feature bits of the block device (virtio 1.2, section 5.2.3).
public enum BlockFeature {
    public static let sizeMaximum: UInt64 = 1 << 1
    public static let segmentMaximum: UInt64 = 1 << 2
    public static let readOnly: UInt64 = 1 << 5
    public static let blockSize: UInt64 = 1 << 6
    public static let flush: UInt64 = 1 << 9
    public static let topology: UInt64 = 1 << 10
    public static let multiqueue: UInt64 = 1 << 12
    public static let discard: UInt64 = 1 << 13
    public static let writeZeroes: UInt64 = 1 << 14
}

/// `struct virtio_blk_config` (virtio 1.2, section 5.2.4) up to `write_zeroes_may_unmap` and its padding.
struct BlockConfigurationSpace {
    static let size = 60
    /// The most sectors of one discard: what fits a 31-bit count of bytes.
    static let maximumDiscardSectors: UInt32 = UInt32(Int32.max) >> 9
    /// The most sectors of one write zeroes request, 32 MiB: where the host's file system has no quicker way the zeros are really written, and whoever
    /// waits for the device waits for that.
    static let maximumZeroSectors: UInt32 = (32 << 20) >> 9

    private var bytes = ConfigurationSpace(size: size)

    init(capacity: UInt64, segmentMaximum: UInt32, queueCount: UInt16, discardAlignment: UInt32?, writeZeroesMayUnmap: Bool?) {
        bytes.put(capacity, at: 0)
        bytes.put(segmentMaximum, at: 12)
        // BLK_SIZE is not offered: partition tables on the image count 512-byte sectors, whatever the host's disk has.
        bytes.put(UInt32(BlockSector.size), at: 20)
        bytes.put(queueCount, at: 34)
        if let discardAlignment {
            bytes.put(Self.maximumDiscardSectors, at: 36)
            bytes.put(UInt32(1), at: 40)
            bytes.put(discardAlignment, at: 44)
        }
        if let writeZeroesMayUnmap {
            bytes.put(Self.maximumZeroSectors, at: 48)
            bytes.put(UInt32(1), at: 52)
            bytes.put(UInt8(writeZeroesMayUnmap ? 1 : 0), at: 56)
        }
    }

    /// `size` is 1...8; bytes beyond the end are 0.
    func read(offset: Int, size: Int) -> UInt64 { bytes.read(offset: offset, size: size) }
}
