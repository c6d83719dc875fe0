internal import AddressSpace

/// An ARM PrimeCell peripheral: 4 KiB of word registers, the last eight of which say what it is.
///
/// The peripheral bus reads and writes whole words (AMBA APB has no byte lanes in these cells): an access of 1, 2 or 4 bytes at a word's first byte is an access to the
/// register. All others read as 0 and change nothing.
protocol PrimeCell: RegionOps {
    static var identity: PrimeCellIdentity { get }
    /// `offset` is a multiple of 4 below `PrimeCellIdentity.offset`; registers that do not exist read as 0.
    func readRegister(_ offset: UInt64) -> UInt32
    func writeRegister(_ offset: UInt64, _ value: UInt32)
}

/// What Linux's amba bus matches drivers by: PeriphID0...3 and PCellID0...3, a byte in each word from 0xFE0 on.
struct PrimeCellIdentity {
    static let offset: UInt64 = 0xFE0
    /// Bytes that the registers of every PrimeCell take; the identity is found by it, at the end.
    static let registerSize: UInt64 = 0x1000

    /// 12 bits.
    let part: UInt16
    /// 4 bits.
    let revision: UInt8

    /// ARM's own designs: designer 0x41.
    func byte(at offset: UInt64) -> UInt32 {
        switch offset {
        case 0xFE0: UInt32(part & 0xFF)
        case 0xFE4: UInt32(part >> 8 & 0xF) | 0x10
        case 0xFE8: UInt32(revision & 0xF) << 4 | 0x04
        case 0xFF0: 0x0D
        case 0xFF4: 0xF0
        case 0xFF8: 0x05
        case 0xFFC: 0xB1
        default: 0
        }
    }
}

extension PrimeCell {
    func readWord(_ offset: UInt64, _ size: Int) -> UInt64 {
        guard offset & 3 == 0, size == 4 || size == 2 || size == 1 else { return 0 }
        let value = offset < PrimeCellIdentity.offset ? readRegister(offset) : Self.identity.byte(at: offset)
        return UInt64(value) & (1 << UInt64(size &* 8) &- 1)
    }

    func writeWord(_ offset: UInt64, _ size: Int, _ value: UInt64) {
        guard offset & 3 == 0, size == 4 || size == 2 || size == 1, offset < PrimeCellIdentity.offset else { return }
        writeRegister(offset, UInt32(truncatingIfNeeded: value & (1 << UInt64(size &* 8) &- 1)))
    }
}
