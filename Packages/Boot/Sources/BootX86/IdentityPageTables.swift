internal import BootCommon

/// Page tables for the 64-bit entry: 0 ..< 1 GiB mapped onto itself with 2 MiB pages (Intel SDM volume 3, 4.5).
public enum IdentityPageTables {
    static let pageSize = 0x1000
    private static let presentWritable: UInt64 = 0x3
    private static let largePage: UInt64 = 0x80

    /// PML4, PDPT and page directory, three pages, to be written at 0x9000. Whole pages, not only the entries that are
    /// set: after a reset the guest's old data lies there.
    public static var bytes: [UInt8] {
        var image = ByteImage(count: 3 * pageSize)
        let base = X86MemoryLayout.pageTables
        image.store(base + 0x1000 | presentWritable, at: 0)
        image.store(base + 0x2000 | presentWritable, at: pageSize)
        for index in 0..<512 {
            image.store(UInt64(index) << 21 | largePage | presentWritable, at: 2 * pageSize + index * 8)
        }
        return image.bytes
    }
}
