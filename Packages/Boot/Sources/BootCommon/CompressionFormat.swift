/// Compressed files that pass for kernels, known by how they start.
package enum CompressionFormat: String, Sendable, CaseIterable {
    case gzip, xz, zstd, bzip2, lz4, lzma, lzop

    /// What `head`, the start of a file, is compressed with.
    package init?(recognising head: LittleEndianBytes) {
        guard let format = Self.allCases.first(where: { $0.magics.contains { head.matches($0) } }) else { return nil }
        self = format
    }

    private var magics: [[UInt8]] {
        switch self {
        case .gzip: [[0x1f, 0x8b, 0x08]]
        case .xz: [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]]
        case .zstd: [[0x28, 0xb5, 0x2f, 0xfd]]
        case .bzip2: [[0x42, 0x5a, 0x68]]
        case .lz4: [[0x04, 0x22, 0x4d, 0x18], [0x02, 0x21, 0x4c, 0x18]]
        case .lzma: [[0x5d, 0x00, 0x00, 0x80]]
        case .lzop: [[0x89, 0x4c, 0x5a, 0x4f, 0x00]]
        }
    }
}
