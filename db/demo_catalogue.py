"""The demo shop's goods: sixty of them, prices in minor units."""

from __future__ import annotations

from dataclasses import dataclass

SOLD_OUT = 13
NOT_ON_SALE = 27

_NAMES = (
    "Panela biscuit",
    "Bocadillo with cheese, bite size",
    "Sticker sheet, coffee flowers",
    "Coffee from Huila, whole bean, 250 g",
    "Coffee from Huila, ground, 250 g",
    "Coffee from Nariño, whole bean, 500 g",
    "Coffee from Nariño, ground, 500 g",
    "Coffee from Sierra Nevada, organic, 340 g",
    "Decaffeinated coffee, ground, 340 g",
    "Coffee sampler, five regions",
    "Drip bags, box of 10",
    "Hot chocolate tablets, cinnamon and clove",
    "Cacao nibs from Tumaco, 200 g",
    "Dark chocolate bar, 70 %",
    "Milk chocolate bar with sea salt",
    "Guava paste, 500 g",
    "Arequipe, 250 g jar",
    "Wildflower honey, 350 g",
    "Aromatic herbs, box of 20 bags",
    "Chili sauce from the Amazon",
    "Enamel mug, white",
    "Enamel mug, blue",
    "Ceramic espresso cup, set of two",
    "Clay cup from La Chamba",
    "Glass coffee server, 600 ml",
    "Pour-over dripper, ceramic",
    "Syphon brewer",
    "French press, 1 litre",
    "Moka pot, three cups",
    "Hand grinder, steel burrs",
    "Paper filters, pack of 100",
    "Cloth filter, traditional",
    "Kitchen scale, 0.1 g",
    "Gooseneck kettle, 1 litre",
    "Travel tumbler, 350 ml",
    "Steel bottle, 750 ml",
    "T-shirt, coffee flower, S",
    "T-shirt, coffee flower, M",
    "T-shirt, coffee flower, L",
    "T-shirt, coffee flower, XL",
    "Hooded sweater, grey, M",
    "Hooded sweater, grey, L",
    "Cap, embroidered",
    "Apron, waxed canvas",
    "Tote bag, printed cotton",
    "Socks, hummingbird",
    "Wayuu shoulder bag, small",
    "Wayuu shoulder bag, large",
    "Woven palm hat",
    "Wool scarf from Boyacá",
    "Fique basket, medium",
    "Wooden serving board",
    "Linen tea towel",
    "Notebook, dotted, A5",
    "Postcards of the coffee region, set of 8",
    "Poster, varieties of coffee",
    "Book: brewing at home",
    "Candle, coffee and vanilla",
    "Soap with coffee grounds",
    "Gift card",
)
_FIRST_PRICES = {1: (1_000, None), 2: (2_000, 1_500), 3: (3_000, None)}


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """One of the demo shop's goods; amounts in minor units."""

    id: int
    name: str
    price: int
    offer_price: int | None
    stock: int
    available: bool

    @property
    def description(self) -> str:
        """A sentence for its page."""
        return f"{self.name}, from the demo shop."


def demo_products() -> list[DemoProduct]:
    """The goods, by id from 1 to 60: the same every time."""
    return [_product(number, name) for number, name in enumerate(_NAMES, start=1)]


def _product(number: int, name: str) -> DemoProduct:
    price, offer_price = _FIRST_PRICES.get(number) or _price(number)
    stock = 0 if number == SOLD_OUT else 50 if number == 38 else 20 + number * 7 % 80
    return DemoProduct(number, name, price, offer_price, stock, available=number != NOT_ON_SALE)


def _price(number: int) -> tuple[int, int | None]:
    price = (9_900 + number * 1_700 % 60_000) * 100
    return price, price * 8 // 10 if number % 6 == 0 else None
