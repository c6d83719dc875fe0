/// Feature bits of the network device (virtio 1.2, section 5.1.3).
public enum NetFeature {
    /// The device takes packets without a checksum.
    public static let checksum: UInt64 = 1 << 0
    /// The driver takes packets without a checksum.
    public static let guestChecksum: UInt64 = 1 << 1
    public static let mac: UInt64 = 1 << 5
    public static let guestTSO4: UInt64 = 1 << 7
    public static let guestTSO6: UInt64 = 1 << 8
    public static let guestUFO: UInt64 = 1 << 10
    public static let hostTSO4: UInt64 = 1 << 11
    public static let hostTSO6: UInt64 = 1 << 12
    public static let hostUFO: UInt64 = 1 << 14
    /// A received packet may span several buffers.
    public static let mergeableBuffers: UInt64 = 1 << 15
    public static let status: UInt64 = 1 << 16
    public static let controlQueue: UInt64 = 1 << 17
    public static let controlReceive: UInt64 = 1 << 18
    public static let controlVLAN: UInt64 = 1 << 19
    public static let controlReceiveExtra: UInt64 = 1 << 20
    public static let multiqueue: UInt64 = 1 << 22
    public static let controlMAC: UInt64 = 1 << 23

    static let udpFragmentation = guestUFO | hostUFO
    /// Packets larger than the MTU may arrive.
    static let largeReceive = guestTSO4 | guestTSO6 | guestUFO
    /// What any tap can do. Linux had no UFO between 4.14 and 6.2, and asks each tap.
    static let offloads = checksum | guestChecksum | guestTSO4 | guestTSO6 | hostTSO4 | hostTSO6
    /// What the device does itself, whatever the back end is.
    static let own = mac | status | controlQueue | controlReceive | controlReceiveExtra | controlVLAN | controlMAC
}
