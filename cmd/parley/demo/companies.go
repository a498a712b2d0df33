package demo

import "time"

// The three companies have the same regions, and pods in each.
var regions = []region{
	{name: "eu", share: 0.40, noon: 12},
	{name: "us", share: 0.35, noon: 19},
	{name: "ap", share: 0.25, noon: 4},
}

// acme's assistant has its answers made by globex's agents: when those are
// slow in eu, it waits for them, and some minutes later gives up.
var acme = plan{
	seed:    11,
	regions: regions,
	services: []service{
		{name: "assistant", rate: 16, median: 700 * time.Millisecond, pods: 2},
		{name: "accounts", rate: 14, median: 45 * time.Millisecond, pods: 2},
	},
	agents: []agent{
		{name: "support", queue: "conversations", rate: 1.5, median: 4 * time.Second, pods: 2},
		{name: "order-tracker", queue: "orders", rate: 1, median: 2 * time.Second, pods: 2},
	},
	reviews: []review{
		{workflow: "refund-approval", rate: 200, capacity: 340, median: 40 * time.Second},
		{workflow: "account-closure", rate: 90, capacity: 160, median: 75 * time.Second},
	},
	customers: []customer{
		{name: "Harbor Bank", domain: "harborbank.example", region: "eu", revenue: 410},
		{name: "Tidewater Energy", domain: "tidewater.example", region: "eu", revenue: 260},
		{name: "Kestrel Airlines", domain: "kestrel.example", region: "us", revenue: 520},
		{name: "Orchard Foods", domain: "orchardfoods.example", region: "us", revenue: 95},
		{name: "Juniper Clinics", domain: "juniperclinics.example", region: "ap", revenue: 180},
		{name: "Monsoon Telecom", domain: "monsoontel.example", region: "ap", revenue: 330},
	},
	reviewers: []string{
		"rita.solberg@acme.example", "tomas.weir@acme.example", "yuki.arai@acme.example",
		"olga.brandt@acme.example", "sam.carter@acme.example", "vikram.nair@acme.example",
	},
	staff: []employee{
		{name: "Rita Solberg", department: "support", salary: 31},
		{name: "Tomas Weir", department: "support", salary: 30},
		{name: "Ada Quist", department: "engineering", salary: 58},
		{name: "Noor Rahman", department: "engineering", salary: 61},
		{name: "Walt Prior", department: "sales", salary: 47},
	},
	flags:    []string{"drop-globex", "price-increase-q3", "voice-assistant"},
	restarts: "accounts-us-0",
	troubles: []trouble{{
		before: 16 * time.Minute, region: "eu", things: []string{"assistant"}, slower: 4, failing: 0.08, status: "504",
	}},
}

// globex's agents run on one another's results: those in eu become slow, work
// piles up in their queues, and the API that hands it in is slow as well.
var globex = plan{
	seed:    23,
	regions: regions,
	services: []service{
		{name: "agent-api", rate: 15, median: 180 * time.Millisecond, pods: 2},
		{name: "tools", rate: 12, median: 60 * time.Millisecond, pods: 2},
	},
	agents: []agent{
		{name: "researcher", queue: "interactive", rate: 1.6, median: 6 * time.Second, pods: 2},
		{name: "summarizer", queue: "interactive", rate: 2, median: 3 * time.Second, pods: 2},
		{name: "translator", queue: "batch", rate: 1.2, median: 4 * time.Second, pods: 2},
		{name: "coder", queue: "batch", rate: 0.8, median: 11 * time.Second, pods: 2},
	},
	reviews: []review{
		{workflow: "safety-check", rate: 160, capacity: 300, median: 35 * time.Second},
	},
	customers: []customer{
		{name: "Northgate Insurance", domain: "northgate.example", region: "eu", revenue: 640},
		{name: "Lumen Publishing", domain: "lumenpublishing.example", region: "eu", revenue: 210},
		{name: "Cascade Logistics", domain: "cascadelogistics.example", region: "us", revenue: 700},
		{name: "Prairie Credit", domain: "prairiecredit.example", region: "us", revenue: 350},
		{name: "Coral Shipping", domain: "coralshipping.example", region: "ap", revenue: 290},
		{name: "Summit Motors", domain: "summitmotors.example", region: "ap", revenue: 480},
	},
	reviewers: []string{
		"ewa.lis@globex.example", "hugo.march@globex.example", "lena.park@globex.example",
		"imre.toth@globex.example", "june.abbott@globex.example", "ravi.menon@globex.example",
	},
	staff: []employee{
		{name: "Ewa Lis", department: "trust", salary: 34},
		{name: "Hugo March", department: "trust", salary: 33},
		{name: "Bianca Thorn", department: "engineering", salary: 66},
		{name: "Pavel Dusek", department: "engineering", salary: 63},
		{name: "Grace Udo", department: "finance", salary: 52},
	},
	flags:    []string{"cheaper-model", "eu-datacentre-move", "acme-discount"},
	restarts: "tools-ap-1",
	troubles: []trouble{
		{
			before: 20 * time.Minute, region: "eu", things: []string{"researcher", "summarizer", "translator", "coder"},
			slower: 5, failing: 0.03,
		},
		{before: 18 * time.Minute, region: "eu", things: []string{"agent-api"}, slower: 3, failing: 0.02, status: "503"},
	},
}

// initech's agents are fast, and wait for people: of three workflows one has
// too few reviewers for what comes in.
var initech = plan{
	seed:    37,
	regions: regions,
	services: []service{
		{name: "marketplace", rate: 14, median: 120 * time.Millisecond, pods: 2},
		{name: "payments", rate: 6, median: 250 * time.Millisecond, pods: 2},
	},
	agents: []agent{
		{name: "matchmaker", queue: "matching", rate: 1.8, median: 2 * time.Second, pods: 2},
		{name: "fraud-check", queue: "checks", rate: 1.2, median: 1500 * time.Millisecond, pods: 2},
	},
	reviews: []review{
		{workflow: "listing-check", rate: 220, capacity: 380, median: 30 * time.Second},
		{workflow: "payout-approval", rate: 140, capacity: 260, median: 50 * time.Second},
		{workflow: "contract-review", rate: 300, capacity: 235, waiting: 20, median: 150 * time.Second},
	},
	customers: []customer{
		{name: "Fjord Freight", domain: "fjordfreight.example", region: "eu", revenue: 150},
		{name: "Alpine Robotics", domain: "alpinerobotics.example", region: "eu", revenue: 230},
		{name: "Redwood Realty", domain: "redwoodrealty.example", region: "us", revenue: 310},
		{name: "Delta Legal", domain: "deltalegal.example", region: "us", revenue: 440},
		{name: "Banyan Health", domain: "banyanhealth.example", region: "ap", revenue: 120},
		{name: "Lotus Retail", domain: "lotusretail.example", region: "ap", revenue: 170},
	},
	reviewers: []string{
		"peter.gall@initech.example", "milla.tan@initech.example", "bill.ashe@initech.example",
		"samira.noor@initech.example", "mike.bolt@initech.example", "dana.wirth@initech.example",
	},
	staff: []employee{
		{name: "Peter Gall", department: "review", salary: 27},
		{name: "Milla Tan", department: "review", salary: 28},
		{name: "Bill Ashe", department: "review", salary: 26},
		{name: "Rosa Feld", department: "engineering", salary: 59},
		{name: "Ivan Kos", department: "sales", salary: 41},
	},
	flags:    []string{"auto-approve-contracts", "seller-ranking-v2"},
	restarts: "payments-eu-1",
}
