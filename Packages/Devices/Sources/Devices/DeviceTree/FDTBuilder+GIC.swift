public import FDT
public import Hypervisor

extension FDTBuilder {
    /// The interrupt controller, to be written inside the root, whose `interrupt-parent` it is: `FDTPhandle.gic` (kernel
    /// Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml).
    ///
    /// - Parameters:
    ///   - kind: what the hypervisor gave for `layout`.
    public mutating func gic(_ kind: GICKind, _ layout: GICLayout) throws(FDTError) {
        try beginNode("intc@\(String(layout.distributor, radix: 16))")
        try property("#interrupt-cells", cells: [3])
        try property("interrupt-controller")
        try property("phandle", cells: [FDTPhandle.gic])
        switch kind {
        case .v2:
            try property("compatible", "arm,cortex-a15-gic")
            try property("#address-cells", cells: [0])
            try property("reg", doubleCells: [layout.distributor, 0x1000, layout.cpuInterface, 0x2000])
        case .v3(let hasITS):
            try gicV3(layout)
            if hasITS, let its = layout.its { try self.its(at: its) }
        }
        try endNode()
    }

    private mutating func gicV3(_ layout: GICLayout) throws(FDTError) {
        try property("compatible", "arm,gic-v3")
        // The ITS is a child with addresses of the same kind.
        try property("#address-cells", cells: [2])
        try property("#size-cells", cells: [2])
        try property("ranges")
        let regions = layout.redistributors
        if regions.count > 1 { try property("#redistributor-regions", cells: [UInt32(clamping: regions.count)]) }
        let redistributors = regions.flatMap { region in
            [region.base, UInt64(clamping: region.count) &* GICLayout.Redistributors.sizeOfOne]
        }
        try property("reg", doubleCells: [layout.distributor, 0x1_0000] + redistributors)
    }

    private mutating func its(at base: UInt64) throws(FDTError) {
        try beginNode("its@\(String(base, radix: 16))")
        try property("compatible", "arm,gic-v3-its")
        try property("msi-controller")
        try property("#msi-cells", cells: [1])
        try property("reg", doubleCells: [base, 0x2_0000])
        try property("phandle", cells: [FDTPhandle.its])
        try endNode()
    }
}
