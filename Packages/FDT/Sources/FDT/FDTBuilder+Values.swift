extension FDTBuilder {
    /// A property without value: its presence says it all.
    public mutating func property(_ name: String) throws(FDTError) { try property(name, bytes: []) }

    /// A NUL-terminated string.
    public mutating func property(_ name: String, _ value: String) throws(FDTError) {
        try property(name, bytes: Array(value.utf8) + [0])
    }

    /// A list of NUL-terminated strings, as in `compatible`.
    public mutating func property(_ name: String, _ values: [String]) throws(FDTError) {
        var bytes: [UInt8] = []
        for value in values {
            bytes.append(contentsOf: value.utf8)
            bytes.append(0)
        }
        try property(name, bytes: bytes)
    }

    /// Big-endian 32-bit cells.
    public mutating func property(_ name: String, cells: [UInt32]) throws(FDTError) {
        try property(name, bytes: cells.flatMap(Self.bigEndian))
    }

    /// Big-endian 64-bit values, two cells each: addresses and sizes under `#address-cells = <2>`.
    public mutating func property(_ name: String, doubleCells: [UInt64]) throws(FDTError) {
        try property(name, bytes: doubleCells.flatMap(Self.bigEndian))
    }

    private static func bigEndian<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> [UInt8] {
        stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
    }
}
